"""Descriptor for attributes that `fit` and `load` set."""

from __future__ import annotations

from typing import Generic, Self, TypeVar, overload

T = TypeVar("T")


class Fitted(Generic[T]):
    """An attribute that has no value before `fit` or `load`. Reading it earlier raises ValueError that names these methods.

    class Gaussian:
        mean = Fitted[np.ndarray]()

    The attribute has no type annotation. So it is not a field of the dataclass and not a setting of the component.
    """

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    @overload
    def __get__(self, instance: None, owner: type) -> Self: ...
    @overload
    def __get__(self, instance: object, owner: type) -> T: ...
    def __get__(self, instance: object | None, owner: type) -> Self | T:
        if instance is None:
            return self
        try:
            value: T = vars(instance)[self._name]
        except KeyError:
            what = self._name.strip("_").replace("_", " ")
            raise ValueError(f"{type(instance).__name__} has no {what} yet; call `fit` or `load` first") from None
        return value

    def __set__(self, instance: object, value: T) -> None:
        vars(instance)[self._name] = value
