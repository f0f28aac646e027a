"""The error tree. Every error this package raises on purpose is a `GestStreamError`.

    GestStreamError
    ├── SourceError
    │   ├── SourceOpenError        nothing could be read from the start
    │   └── SourceLostError        it was readable, then stopped, and reconnecting failed
    ├── ModelError
    │   ├── WeightsError           a weight file is absent, damaged or of another model
    │   └── DeviceError            the asked-for device is absent or out of memory
    ├── SinkError                  an output cannot be opened, written or finished
    ├── MissingDependencyError     an optional package is not installed (also an ImportError)
    ├── ConfigError                a setting has no meaning (also a ValueError)
    └── InvalidInputError          an array or value handed to the library is unusable (also a ValueError)
        └── SignallingError        a WebRTC offer, candidate or message that cannot be used

A message names the thing, the value and the remedy. A foreign error is mapped once, in its adapter, with `from exc`.
"""


class GestStreamError(Exception):
    """Root of every error that gest_stream raises on purpose."""


class SourceError(GestStreamError):
    """A frame source failed."""


class SourceOpenError(SourceError):
    """A source could not be opened, or holds no video."""


class SourceLostError(SourceError):
    """A source that had been readable stopped and did not come back."""


class ModelError(GestStreamError):
    """A model could not be loaded or run."""


class WeightsError(ModelError):
    """A weight file is absent, damaged, or belongs to another model."""


class DeviceError(ModelError):
    """The asked-for compute device is absent or out of memory."""


class SinkError(GestStreamError):
    """An output could not be opened, written or finished."""


class MissingDependencyError(GestStreamError, ImportError):
    """An optional package is not installed; the message is the command that installs it."""


class ConfigError(GestStreamError, ValueError):
    """A setting is unknown or out of range."""


class InvalidInputError(GestStreamError, ValueError):
    """An array or value handed to the library has the wrong shape, dtype or range."""


class SignallingError(InvalidInputError):
    """What a WebRTC peer sent cannot be used.

    Args:
        message: What is wrong with it.
        status: The HTTP status that says so.
    """

    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.status = status
