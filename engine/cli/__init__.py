"""The studio from a shell. Each command is a function in a file here and a row in `COMMANDS`; `engine.__main__` runs it.

A command returns an `Answer`: what --json prints, and the same in words. Nothing here imports torch.
"""

from __future__ import annotations

from engine.cli import check, data, labelling, models, results, shipping, suggesting, training, versions, xray
from engine.cli.answer import Command

__all__ = ["COMMANDS"]

COMMANDS = (
    Command("projects", "list, make, rename, delete and restore projects", data.projects_options, data.projects),
    Command("import", "take a folder or an archive of pictures into a project", data.import_options, data.import_pictures),
    Command("versions", "list, compare, save and restore the versions of a project's data", versions.versions_options, versions.versions),
    Command("check", "look for what is wrong with a project's pictures and labels", check.check_options, check.check),
    Command("label", "say what a picture shows: its class, or a box in it", labelling.label_options, labelling.label),
    Command("suggest", "let a model suggest labels for what nobody has labelled", suggesting.suggest_options, suggesting.suggest),
    Command("export-data", "write a project's pictures and labels to a zip for other tools", data.export_data_options, data.export_data),
    Command("starts", "list what training can start from", models.starts_options, models.starts),
    Command("xray", "look into an ONNX file: what it is, what it can be retrained for", xray.xray_options, xray.xray),
    Command("download", "fetch a backbone's pretrained weights", models.download_options, models.download),
    Command("estimate", "try a few steps and say how long a run would take", training.estimate_options, training.estimate),
    Command("train", "start a run", training.train_options, training.train),
    Command("runs", "list runs and their states", results.runs_options, results.list_runs),
    Command("resume", "go on with a paused, interrupted, failed or stopped run", training.run_options, training.resume),
    Command("pause", "save a run and free the device", training.run_options, training.pause),
    Command("stop", "end a run and keep its best model", training.run_options, training.stop),
    Command("report", "say how good a finished run is", results.report_options, results.report),
    Command("compare", "lay runs side by side", results.compare_options, results.compare),
    Command("export", "write a run's model to a file", shipping.export_options, shipping.export),
    Command("predict", "ask a model about pictures", shipping.predict_options, shipping.predict),
)
