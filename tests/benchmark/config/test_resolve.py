"""Resolution of strategies, protocols and folds from names and settings."""

from __future__ import annotations

import pytest

from stampbench.benchmark.cli.parsing import parse_names
from stampbench.benchmark.config.protocol import PAPER, QUICK
from stampbench.benchmark.config.resolve import (
    resolve_folds,
    resolve_network,
    resolve_networks,
    resolve_protocol,
    resolve_strategies,
)
from stampbench.benchmark.errors import UserError


def test_user_settings_override_the_hyperparameters_of_a_protocol() -> None:
    (quick,) = resolve_strategies(["stamp"], QUICK, {})
    assert quick.strategy.model_dump()["filters_per_step"] == QUICK.hyperparameters["filters_per_step"] > 1
    (changed,) = resolve_strategies(["stamp"], QUICK, {"filters_per_step": "2"})
    assert changed.strategy.model_dump()["filters_per_step"] == 2
    assert changed.defaults == quick.strategy.model_dump()


def test_setting_applies_only_to_strategies_that_have_it() -> None:
    standard, stamp = resolve_strategies(["standard", "stamp"], PAPER, {"recovery_epochs": "2", "f": "8"})
    assert (standard.strategy.f, stamp.strategy.f) == (8, 8)
    assert "recovery_epochs" not in standard.strategy.model_dump()
    assert stamp.strategy.model_dump()["recovery_epochs"] == 2


def test_settings_override_a_named_protocol() -> None:
    protocol = resolve_protocol("quick", {"batch_size": "2", "learning_rate": "0.5"})
    assert (protocol.batch_size, protocol.learning_rate, protocol.max_epochs) == (2, 0.5, QUICK.max_epochs)
    assert protocol.hyperparameters == QUICK.hyperparameters


@pytest.mark.parametrize(
    ("names", "settings", "message"),
    [
        ("stampplus", {}, "unknown strategy 'stampplus'; did you mean 'stamp_plus'"),
        ("", {}, "unknown strategy ''"),
        (
            "stamp",
            {"recovery_epoch": "3"},
            "unknown hyperparameter of stamp 'recovery_epoch'; did you mean 'recovery_epochs'",
        ),
        ("standard", {"recovery_epochs": "3"}, "unknown hyperparameter of standard 'recovery_epochs'"),
        ("stamp", {"recovery_epochs": "many"}, "recovery_epochs='many'.*integer"),
        ("stamp", {"recovery_epochs": "0"}, "recovery_epochs='0'.*greater than or equal to 1"),
        ("stamp", {"importance": "l3"}, "importance='l3'.*'l2'"),
    ],
)
def test_invalid_strategies_and_hyperparameters_are_refused(names: str, settings: dict[str, str], message: str) -> None:
    with pytest.raises(UserError, match=message) as raised:
        resolve_strategies(parse_names(names), PAPER, settings)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("papr", {}, "unknown protocol 'papr'; did you mean 'paper'"),
        ("paper", {"batchsize": "2"}, "unknown protocol setting 'batchsize'; did you mean 'batch_size'"),
        ("paper", {"hyperparameters": "2"}, "unknown protocol setting"),
        ("paper", {"batch_size": "big"}, "batch_size='big'"),
        ("paper", {"folds": "1"}, "folds='1'"),
    ],
)
def test_invalid_protocols_are_refused(name: str, settings: dict[str, str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        resolve_protocol(name, settings)


def test_folds_are_resolved_within_the_protocol() -> None:
    assert resolve_folds("all", PAPER) == [0, 1, 2, 3, 4]
    assert resolve_folds((2, 0, 2), PAPER) == [2, 0]
    for fold in (5, -1):
        with pytest.raises(UserError, match=f"no fold {fold}; protocol 'paper' has folds 0 to 4"):
            resolve_folds((fold,), PAPER)


def test_a_network_takes_a_size_instead_of_f() -> None:
    assert resolve_networks(["unet", "half_unet"], {"size": "4"})[0] is None
    (strategy,) = resolve_strategies(["standard"], PAPER, {})
    sized = strategy.on(resolve_network("half_unet", {"size": "4", "ghost": "false"})).sized(2, 1, 2)
    assert sized.network is not None
    # The plain Half-UNet with 34 channels has 115,636 parameters, the U-Net with f = 4 has 122,394.
    assert sized.network.network.model_dump() == {"f": 34, "depth": 4, "ghost": False}
    assert sized.network.defaults["f"] == 64
    assert sized.sized(2, 1, 2) == sized


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"size": "4", "f": "8"}, "network 'half_unet': f and size are mutually exclusive"),
        ({"size": "0"}, "network 'half_unet': size='0': input should be greater than or equal to 1"),
        ({"f": "63"}, "network 'half_unet': f='63': input should be a multiple of 2"),
        ({"sizes": "4"}, "unknown hyperparameter of network half_unet 'sizes'; did you mean 'size'"),
    ],
)
def test_invalid_settings_of_networks_are_refused(settings: dict[str, str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        resolve_network("half_unet", settings)
