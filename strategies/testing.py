"""Conformance tests for built-in and third-party strategies.

    from stampbench.strategies.testing import check_conformance

    @pytest.mark.parametrize("spatial_dims", [2, 3])
    def test_my_idea_conforms(spatial_dims, tmp_path):
        check_conformance(MyIdea(), spatial_dims, tmp_path)

They train on tiny phantoms with the real harness, so this module alone among the strategies imports `benchmark`.
"""

from stampbench.benchmark.execution.conformance import TINY, CountingTrainer, check_conformance, check_hyperparameters

__all__ = ["TINY", "CountingTrainer", "check_conformance", "check_hyperparameters"]
