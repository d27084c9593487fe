"""Metrics files survive kills without lost or doubled rows."""

from semanticvla_jax.training import metrics


def test_rows_after_the_checkpoint_are_written_again_once(tmp_path):
    first = metrics.MetricsWriter(tmp_path)
    for step in (1, 2, 3):
        first.write(step, {"loss": float(step)})
    first.close()
    second = metrics.MetricsWriter(tmp_path, resume_step=2)
    second.write(3, {"loss": 30.0})
    second.close()
    rows = metrics.read_metrics(tmp_path / "metrics.jsonl")
    assert [(row["step"], row["loss"]) for row in rows] == [(1, 1.0), (2, 2.0), (3, 30.0)]


def test_half_written_last_line_is_dropped(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 1, "loss": 0.5}\n{"step": 2, "lo')
    metrics.MetricsWriter(tmp_path, resume_step=5).close()
    assert path.read_text() == '{"step": 1, "loss": 0.5}\n'
