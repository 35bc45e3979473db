"""PyInstaller's hook: collect the weights, the self-test's face and the lazily imported modules."""

from PyInstaller.utils.hooks import collect_data_files, collect_submodules

datas = collect_data_files("trg")
# The public names of `trg` are imported on first use; `trg.network` needs torch.
hiddenimports = collect_submodules(
    "trg", filter=lambda name: not name.startswith(("trg.network", "trg.__pyinstaller"))
)
