#!/bin/bash
# From a fresh Debian or Ubuntu machine to a running container: installs what the build needs,
# builds PRoot and the executable, puts `udocker` and `udocker.py` into ~/.local/bin, and runs a
# container. As root, with sudo, or as a user who may use sudo. A second run skips finished steps.
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/.."

say() { printf '\n==> %s\n' "$*"; }

say "Requirements of the build (scripts/packages.txt)"
scripts/install-packages.sh build
if ! scripts/demo.sh --hub-is-reachable; then
	echo "Docker Hub cannot be reached from here: the container will come from a registry on loopback"
	scripts/install-packages.sh demo
fi

# Under sudo, everything else is done as, and for, the calling user.
if [[ $(id -u) == 0 && ${SUDO_USER:-root} != root ]]; then
	say "Going on as $SUDO_USER"
	home=$(getent passwd "$SUDO_USER" | cut -d : -f 6)
	exec runuser -u "$SUDO_USER" -- env -u SUDO_USER HOME="$home" USER="$SUDO_USER" LOGNAME="$SUDO_USER" "$PWD/scripts/quickstart.sh"
fi

say "Rust toolchain"
scripts/install-rust.sh
export PATH=$HOME/.cargo/bin:$PATH
cargo --version

say "PRoot, from its pinned source and our patches"
vendor-proot/build.sh

say "The executable (a few minutes the first time)"
cargo build --release --locked
# The output directory is named after the target.
built=${CARGO_TARGET_DIR:-target}/$(rustc --version --verbose | sed -n 's/^host: //p')/release/udocker

say "Installing into ~/.local/bin"
install -D --mode 755 "$built" "$HOME/.local/bin/udocker"
[[ -z $(command -v python3) ]] || python3 scripts/package/add_main.py "$HOME/.local/bin/udocker"
ln --symbolic --force udocker "$HOME/.local/bin/udocker.py"
ls -l "$HOME/.local/bin/udocker" "$HOME/.local/bin/udocker.py"
"$HOME/.local/bin/udocker" --version

say "A container"
scripts/demo.sh "$HOME/.local/bin/udocker"

case :$PATH: in
*":$HOME/.local/bin:"*) say "Done. Try: udocker run --rm alpine" ;;
*) say "Done. Put it on your PATH with: export PATH=\"\$HOME/.local/bin:\$PATH\"" ;;
esac
