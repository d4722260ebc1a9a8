"""What users type, right and wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from stampbench.benchmark.cli.parsing import parse_batches, parse_names, parse_settings, parse_shape
from stampbench.benchmark.config.dataset_request import DatasetRequest, find_definition
from stampbench.benchmark.config.protocol import PAPER, QUICK
from stampbench.benchmark.config.resolve import (
    resolve_folds,
    resolve_protocol,
    resolve_strategies,
)
from stampbench.benchmark.config.suite import parse_folds, parse_n_train
from stampbench.benchmark.errors import UserError


def test_the_papers_values() -> None:
    """Dinsdale et al. 2022, §2.5.1."""
    assert (PAPER.learning_rate, PAPER.batch_size, PAPER.patience, PAPER.finetune_patience) == (
        0.01,
        16,
        25,
        10,
    )
    assert (PAPER.initialisation, PAPER.loss, PAPER.folds) == ("xavier", "dice", 5)
    (stamp_plus,) = resolve_strategies(["stamp_plus"], PAPER, {})
    values = stamp_plus.strategy.model_dump()
    assert (values["recovery_epochs"], values["filters_per_step"], values["f"]) == (5, 1, 4)
    assert (values["base_dropout"], values["dropout"], values["importance"]) == (0.1, "targeted", "l2")


def test_a_protocol_sets_hyperparameters_and_the_user_has_the_last_word() -> None:
    (quick,) = resolve_strategies(["stamp"], QUICK, {})
    assert quick.strategy.model_dump()["filters_per_step"] == QUICK.hyperparameters["filters_per_step"] > 1
    (own,) = resolve_strategies(["stamp"], QUICK, {"filters_per_step": "2"})
    assert own.strategy.model_dump()["filters_per_step"] == 2
    assert own.defaults == quick.strategy.model_dump()


def test_a_setting_goes_to_the_strategies_that_have_it() -> None:
    standard, stamp = resolve_strategies(["standard", "stamp"], PAPER, {"recovery_epochs": "2", "f": "8"})
    assert (standard.strategy.f, stamp.strategy.f) == (8, 8)
    assert "recovery_epochs" not in standard.strategy.model_dump()
    assert stamp.strategy.model_dump()["recovery_epochs"] == 2


def test_protocol_settings() -> None:
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
def test_wrong_strategies(names: str, settings: dict[str, str], message: str) -> None:
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
def test_wrong_protocols(name: str, settings: dict[str, str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        resolve_protocol(name, settings)


def test_datasets_by_name_parameter_and_folder(tmp_path: Path) -> None:
    assert find_definition("hippocampus").folder == "Task04_Hippocampus"
    sized = find_definition("phantom2d:size=48,cases=20")
    assert sized.phantom is not None
    assert (sized.phantom.size, sized.phantom.cases) == (48, 20)
    assert find_definition(str(tmp_path)).name == tmp_path.name


@pytest.mark.parametrize(
    ("text", "dims", "message"),
    [
        ("prostrate", None, "unknown dataset 'prostrate'; did you mean 'prostate'"),
        ("./nowhere", None, "dataset folder './nowhere' does not exist"),
        ("phantom2d:sized=3", None, "unknown parameter of phantom2d 'sized'; did you mean 'size'"),
        ("phantom2d:size=big", None, "size='big'"),
        ("hippocampus:size=3", None, "takes no parameters"),
        ("phantom2d", 3, "2 spatial dims, not 3"),
        ("prostate", 3, "2 spatial dims, not 3"),
    ],
)
def test_wrong_datasets(text: str, dims: int | None, message: str) -> None:
    with pytest.raises(UserError, match=message):
        DatasetRequest(name=text, spatial_dims=dims).define()


def test_folds_and_sizes() -> None:
    assert resolve_folds("all", PAPER) == [0, 1, 2, 3, 4]
    assert resolve_folds((2, 0, 2), PAPER) == [2, 0]
    for fold in (5, -1):
        with pytest.raises(UserError, match=f"no fold {fold}; protocol 'paper' has folds 0 to 4"):
            resolve_folds((fold,), PAPER)
    assert parse_folds("all") == "all"
    assert [parse_folds(each) for each in ("0,2", [0, 2], 3)] == [(0, 2), (0, 2), (3,)]
    assert [parse_n_train(each) for each in ("all", "25", 25)] == ["all", 25, 25]
    for text in ("x", "", "0,", None):
        with pytest.raises(ValueError, match="neither 'all' nor fold numbers"):
            parse_folds(text)
    for number in ("0", "1", "-3", "many", "2.5", 1, 2.5, True):
        with pytest.raises(ValueError, match="neither 'all' nor a number of images from 2"):
            parse_n_train(number)


def test_option_texts() -> None:
    assert parse_settings("--set", [" f = 8", "dropout=none"]) == {"f": "8", "dropout": "none"}
    for text in ("recovery_epochs", "=3"):
        with pytest.raises(UserError, match=f"--set takes key=value, not '{text}'"):
            parse_settings("--set", [text])
    assert parse_batches("1, auto,8") == [1, None, 8]
    with pytest.raises(UserError, match="--batch '0' is neither a number of images nor 'auto'"):
        parse_batches("1,0")
    assert parse_shape("48x64x48", 3) == (48, 64, 48)
    with pytest.raises(UserError, match="--shape '48,64': 3 numbers are expected"):
        parse_shape("48,64", 3)
    with pytest.raises(UserError, match="--shape 'x': not a size"):
        parse_shape("x", 3)
