package dev.gatun.engine.cuda;

import dev.gatun.engine.Launch;
import dev.gatun.engine.Owned;
import dev.gatun.ffi.CudaStream;
import java.util.List;

/** A list of launches run one by one, each waited for: where faults are looked for. */
final class SequenceLaunch extends CudaLaunch {
  private final List<Launch> parts;
  private final boolean waits;

  SequenceLaunch(CudaDevice device, List<Launch> parts, boolean waits) {
    super(device, parts.size() + " launches", List.of());
    this.parts = parts;
    this.waits = waits;
  }

  @Override
  void enqueue(CudaStream stream) {
    parts.forEach(Launch::run);
  }

  @Override
  boolean waits() {
    return waits;
  }

  @Override
  void release(boolean usable) {
    try (Owned all = new Owned()) {
      parts.reversed().forEach(all::add);
    }
  }
}
