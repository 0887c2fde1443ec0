import pytest
from dassl.utils import Registry, check_availability


@pytest.fixture
def registry():
    registry = Registry("METHODS")

    @registry.register()
    class TipAdapter: ...

    @registry.register()
    def coop(): ...

    return registry


def test_get_returns_the_class_itself(registry):
    assert registry.get("TipAdapter").__name__ == "TipAdapter"
    assert registry.registered_names() == ["TipAdapter", "coop"]
    assert "coop" in registry
    assert "CoOp" not in registry


def test_second_registration_needs_force(registry):
    def coop():
        return "second"

    with pytest.raises(ValueError, match=r"^'coop' is already registered in METHODS$"):
        registry.register()(coop)
    registry.register(force=True)(coop)
    assert registry.get("coop")() == "second"


def test_unknown_name_lists_all_and_suggests_the_nearest(registry):
    with pytest.raises(ValueError) as caught:
        registry.get("tipadaptor")
    assert str(caught.value) == (
        "METHODS: unknown name 'tipadaptor': did you mean 'TipAdapter'? there are TipAdapter, coop"
    )


def test_nothing_near_nothing_suggested():
    with pytest.raises(ValueError) as caught:
        check_availability("zzz", ["adam", "sgd"])
    assert str(caught.value) == "unknown name 'zzz': there are adam, sgd"
    check_availability("sgd", ["adam", "sgd"])
