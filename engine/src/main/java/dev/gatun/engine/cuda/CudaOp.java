package dev.gatun.engine.cuda;

import dev.gatun.engine.Op;
import dev.gatun.engine.Tensor;
import dev.gatun.engine.TensorSpec;
import java.util.List;

/** How a device runs one kind of op. */
interface CudaOp<O extends Op> {
  /** Null if these inputs can be run, else in a few words why not. */
  String refuses(O op, List<TensorSpec> inputs);

  /** Called with the device entered, for inputs that are not refused. */
  CudaLaunch prepare(CudaDevice device, O op, List<Tensor> inputs, List<Tensor> outputs);
}
