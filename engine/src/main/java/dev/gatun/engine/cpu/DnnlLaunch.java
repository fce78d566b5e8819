package dev.gatun.engine.cpu;

import static dev.gatun.ffi.onednn.OneDnn.dnnl_bf16;
import static dev.gatun.ffi.onednn.OneDnn.dnnl_f32;

import dev.gatun.engine.Buffer;
import dev.gatun.engine.DType;
import dev.gatun.engine.Launch;
import dev.gatun.engine.Owned;
import dev.gatun.ffi.Dnnl;
import dev.gatun.ffi.DnnlPrimitive;
import dev.gatun.ffi.HostMemory;
import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.List;
import java.util.function.Consumer;
import java.util.function.Supplier;

/** Steps that run one after another, primitives of oneDNN among them, and what these need. */
abstract class DnnlLaunch implements Launch {
  /**
   * Weight gradients below this run on one thread. oneDNN's threads meet at a barrier at which they
   * spin: that costs more than a second core brings, and ten times as much where somebody else has
   * it.
   */
  static final double ONE_THREAD_PRODUCTS = 5e8;

  final CpuDevice device;
  final Owned owned = new Owned();
  final List<Runnable> steps = new ArrayList<>();
  private final List<DnnlPrimitive> scratchUsers = new ArrayList<>();
  private int scratchVersion = -1;

  DnnlLaunch(CpuDevice device) {
    this.device = device;
  }

  /** The launch with its steps; closed where {@code plan} fails. */
  static <T extends DnnlLaunch> T planned(T launch, Consumer<T> plan) {
    try {
      plan.accept(launch);
      return launch;
    } catch (RuntimeException | Error e) {
      launch.close();
      throw e;
    }
  }

  static int type(DType type) {
    return type == DType.BF16 ? dnnl_bf16() : dnnl_f32();
  }

  static MemorySegment segment(Buffer buffer) {
    return HostMemory.at(buffer.address(), buffer.sizeBytes());
  }

  final Dnnl dnnl() {
    return device.dnnl();
  }

  /** Makes a primitive that is to run on one thread where {@code alone}, and owns it. */
  final DnnlPrimitive own(boolean alone, Supplier<DnnlPrimitive> make) {
    return owned.add(alone ? Dnnl.onOneThread(make) : make.get());
  }

  final void addStep(boolean alone, DnnlPrimitive primitive) {
    useScratch(primitive);
    steps.add(alone ? primitive::executeOnOneThread : primitive::execute);
  }

  final void addStep(DnnlPrimitive primitive) {
    useScratch(primitive);
    steps.add(primitive::execute);
  }

  /** A step that runs when {@code source} has been written since it ran last. */
  final void addStepIfChanged(Buffer source, Runnable step) {
    long[] version = {-1};
    steps.add(() -> {
      long now = source.version();
      if (now != version[0]) {
        step.run();
        version[0] = now;
      }
    });
  }

  final void useScratch(DnnlPrimitive primitive) {
    if (primitive.scratchpadBytes() > 0) {
      device.scratchpad().reserve(primitive.scratchpadBytes());
      scratchUsers.add(primitive);
    }
  }

  @Override
  public final void run() {
    if (scratchVersion != device.scratchpad().version()) {
      scratchUsers.forEach(p -> p.bindScratchpad(device.scratchpad().address()));
      scratchVersion = device.scratchpad().version();
    }
    for (Runnable step : steps) {
      step.run();
    }
  }

  @Override
  public final void close() {
    owned.close();
  }
}
