#!/bin/sh
# run.sh [BUILD_DIR] - builds the emulator and runs its own test; with nvcc, also compiles the kernels'
# headers and looks for the instructions that they are there for.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
out=${1:-$(mktemp -d)}
[ $# -ge 1 ] || trap 'rm -rf "$out"' EXIT
CXX=${CXX:-g++}
"$here/../build.sh" "$out"
[ -f "$out/libcuda.so.1" ] || exit 0
out=$(cd "$out" && pwd)
cuda=$here/../../../kernels/src/main/cuda

nvcc=
if [ -n "${CUDA_PATH:-}" ] && [ -x "$CUDA_PATH/bin/nvcc" ]; then
  nvcc=$CUDA_PATH/bin/nvcc
elif command -v nvcc >/dev/null 2>&1; then
  nvcc=nvcc
fi
if [ "${GATUN_NVCC:-}" = none ]; then nvcc=; fi

ptx() { # SOURCE ARCH INSTRUCTION...
  source=$1; arch=$2; shift 2
  (cd "$here" && "$nvcc" -std=c++17 -O3 -Werror all-warnings -I "$cuda" -arch="compute_$arch" -ptx \
    "$source.cu" -o "$out/$source.$arch.ptx")
  for instruction in "$@"; do
    if ! grep -qF "$instruction" "$out/$source.$arch.ptx"; then
      echo "FAIL $source.cu for compute_$arch lacks $instruction" >&2
      exit 1
    fi
  done
}
if [ -n "$nvcc" ]; then
  for arch in 80 90a; do
    ptx tiles $arch mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 \
      ldmatrix.sync.aligned.m8n8.x4.shared.b16 ldmatrix.sync.aligned.m8n8.x2.shared.b16 \
      ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 ldmatrix.sync.aligned.m8n8.x2.trans.shared.b16 \
      cp.async.cg.shared.global cp.async.ca.shared.global cp.async.commit_group cp.async.wait_group
  done
  ptx clusters 80 atom.add.release.gpu.u32 ld.acquire.gpu.u32 st.release.gpu.u32
  ptx clusters 90a atom.add.release.gpu.u32 ld.acquire.gpu.u32 st.release.gpu.u32 \
    barrier.cluster.arrive.release.aligned barrier.cluster.wait.acquire.aligned mapa.u64 \
    %cluster_ctarank %cluster_nctarank
  echo "ok   the headers' instructions in PTX for sm_80 and sm_90a"
fi

modules=
for source in kernels tiles clusters; do
  (cd "$here" && "$CXX" -x c++ -std=c++17 -O2 -fPIC -shared -fno-gnu-unique -ffp-contract=off \
    -fno-strict-aliasing -Wl,-Bsymbolic -DGATUN_EMULATED -Wall -Wextra -Werror -I ../include \
    -I "$cuda" $source.cu -o "$out/test_$source.so")
  modules="$modules $out/test_$source.so"
done
"$CXX" -std=c++17 -O1 -Wall -Wextra "$here"/*_test.cc -o "$out/emulator_test" \
  "$out/libcuda.so.1" -lpthread -Wl,-rpath,"$out"
"$out/emulator_test" $modules
