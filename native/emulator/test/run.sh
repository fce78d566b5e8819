#!/bin/sh
# run.sh [BUILD_DIR] - builds the emulator and runs its own test.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
out=${1:-$(mktemp -d)}
[ $# -ge 1 ] || trap 'rm -rf "$out"' EXIT
CXX=${CXX:-g++}
"$here/../build.sh" "$out"
[ -f "$out/libcuda.so.1" ] || exit 0
out=$(cd "$out" && pwd)
modules=
for source in kernels tiles clusters; do
  (cd "$here" && "$CXX" -x c++ -std=c++17 -O2 -fPIC -shared -fno-gnu-unique -ffp-contract=off \
    -fno-strict-aliasing -Wl,-Bsymbolic -DGATUN_EMULATED -Wall -Wextra -Werror -I ../include \
    -I ../../../kernels/src/main/cuda $source.cu -o "$out/test_$source.so")
  modules="$modules $out/test_$source.so"
done
"$CXX" -std=c++17 -O1 -Wall -Wextra "$here"/*_test.cc -o "$out/emulator_test" \
  "$out/libcuda.so.1" -lpthread -Wl,-rpath,"$out"
"$out/emulator_test" $modules
