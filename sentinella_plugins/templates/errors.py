"""What may be wrong with a template or with what it is given."""

from __future__ import annotations

from sentinella_plugins.kernel.errors import NotFound, Unprocessable


class TemplateNotFound(NotFound):
    """There is no such template, version or label here. `GET /v1/templates` lists the templates."""

    code = "template_not_found"


class TemplateInvalid(Unprocessable):
    """The template cannot be read."""

    code = "template_invalid"


class VariableMissing(Unprocessable):
    """A variable of the template was not given."""

    code = "template_variable_missing"


class VariableUnknown(Unprocessable):
    """The template does not have a variable that was given."""

    code = "template_variable_unknown"


class VariableType(Unprocessable):
    """A variable has a value of the wrong type."""

    code = "template_variable_type"


class RenderingFailed(Unprocessable):
    """The template fails with these variables."""

    code = "template_rendering_failed"


class TooMuch(Unprocessable):
    """The rendering would be larger or take longer than this gateway allows."""

    code = "template_too_large"
