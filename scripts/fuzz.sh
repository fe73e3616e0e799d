#!/bin/bash
# Fuzzes the parsers and the unpacker with cargo-fuzz, which needs a nightly compiler: fuzz.sh
# [MINUTES [TARGET…]], by default half an hour for each target. The corpus stays in target/fuzz; an
# input that fails is shown, and belongs into a test once the bug is corrected. docs/fuzzing.md
# lists the runs, and says why the leak check is disabled.
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/.."

target=${CARGO_TARGET_DIR:-$PWD/target}
export PATH=$target/tools/bin:$HOME/.cargo/bin:$PATH
command -v cargo-fuzz >/dev/null || (cd / && RUSTFLAGS='' cargo install --quiet --locked --root "$target/tools" cargo-fuzz)
vendor-proot/build.sh
minutes=${1:-30}
targets=("${@:2}")
if [[ ${#targets[@]} == 0 ]]; then
	list=$(cargo +nightly fuzz list --fuzz-dir tests/fuzz)
	mapfile -t targets <<<"$list"
fi
for name in "${targets[@]}"; do
	corpus=$target/fuzz/corpus/$name artifacts=$target/fuzz/artifacts/$name/
	mkdir -p "$corpus" "$artifacts"
	printf '\n==> %s, %s minutes\n' "$name" "$minutes"
	cargo +nightly fuzz run --fuzz-dir tests/fuzz --target-dir "$target/fuzz" "$name" "$corpus" -- \
		-max_total_time=$((minutes * 60)) -artifact_prefix="$artifacts" -timeout=20 -detect_leaks=0 -rss_limit_mb=2048 \
		-max_len=65536 -print_final_stats=1
done
