package dev.gatun.bench;

import ai.djl.Device;
import ai.djl.MalformedModelException;
import ai.djl.Model;
import ai.djl.engine.Engine;
import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDList;
import ai.djl.ndarray.NDManager;
import ai.djl.pytorch.jni.JniUtils;
import ai.djl.training.ParameterStore;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.io.UncheckedIOException;

/** A {@link TorchScript} as PyTorch runs it; it has no weights of its own. */
final class DjlModule implements AutoCloseable {
  private final Model model;

  /**
   * Loads it.
   *
   * @param archive as {@link TorchScript#archive} writes it
   */
  DjlModule(Engine engine, String name, byte[] archive) {
    // the operators as they are called; what the optimizer makes of them is no faster
    JniUtils.setGraphExecutorOptimize(false);
    model = Model.newInstance(name, Device.cpu(), engine.getEngineName());
    try {
      model.load(new ByteArrayInputStream(archive));
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    } catch (MalformedModelException e) {
      throw new IllegalStateException(e);
    }
  }

  /** What it returns; the script's parameters in their order. */
  NDArray apply(NDManager scope, boolean training, NDArray... inputs) {
    ParameterStore none = new ParameterStore(scope, false);
    return model.getBlock().forward(none, new NDList(inputs), training).singletonOrThrow();
  }

  @Override
  public void close() {
    model.close();
  }
}
