package dev.gatun.engine.cuda;

import dev.gatun.engine.Tensor;
import dev.gatun.engine.TensorSpec;
import dev.gatun.engine.contract.Contract;
import dev.gatun.engine.contract.ContractSuite;
import dev.gatun.engine.contract.OpCase;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import java.util.regex.Pattern;

/**
 * A question to some kernels, which any build of them can be asked.
 *
 * @param kernels the functions that it launches
 * @param work about how long it takes, in no particular unit
 */
record KernelCheck(String name, Set<String> kernels, long work, Body body) {
  /** Throws an AssertionError, or what the device throws, where a kernel is wrong. */
  interface Body {
    void run(CudaDevice device);
  }

  /** What may follow an op's name in a kernel's: dtypes, tiles, axes, the path without vectors. */
  private static final String VARIANT = "(_(f32|bf16|u8|any|rows|columns|\\d+(x\\d+)?))*";

  void run(CudaDevice device) {
    body.run(device);
  }

  /** Whether a kernel is that op, or that variant of one; {@code conv_taps_bf16} names several. */
  static boolean matches(String name, String kernel) {
    return kernel.matches(Pattern.quote(name) + VARIANT);
  }

  /** The contract's cases, and all that ops alone do not reach. */
  static List<KernelCheck> all(CudaDevice device) {
    List<KernelCheck> checks = new ArrayList<>(ofContract(device));
    checks.addAll(others());
    return checks;
  }

  /** Activations in a convolution, windows of positions, draws, NaNs, ceilings. */
  static List<KernelCheck> others() {
    List<KernelCheck> checks = new ArrayList<>();
    checks.addAll(ConvChecks.all());
    checks.addAll(WindowChecks.all());
    checks.addAll(DrawChecks.all());
    checks.addAll(NanChecks.all());
    checks.addAll(LikelihoodChecks.all());
    checks.addAll(CeilingChecks.all());
    checks.addAll(UnitChecks.all());
    checks.addAll(DiffusionChecks.all());
    return checks;
  }

  static List<KernelCheck> ofContract(CudaDevice device) {
    List<KernelCheck> checks = new ArrayList<>();
    for (OpCase opCase : ContractSuite.cases(device)) {
      List<TensorSpec> outputs = opCase.op().check(opCase.inputs());
      long elements = 0;
      for (TensorSpec spec : opCase.inputs()) {
        elements += spec.shape().elements();
      }
      for (TensorSpec spec : outputs) {
        elements += spec.shape().elements();
      }
      checks.add(
          new KernelCheck(
              opCase.toString(),
              launchedBy(device, opCase, outputs),
              elements,
              opened -> {
                Contract.Outcome outcome = Contract.check(opened, opCase);
                if (!outcome.passed()) {
                  throw new AssertionError(outcome.failure());
                }
              }));
    }
    return checks;
  }

  private static Set<String> launchedBy(
      CudaDevice device, OpCase opCase, List<TensorSpec> outputs) {
    try (CheckScope scope = new CheckScope(device)) {
      List<Tensor> in = new ArrayList<>();
      List<Tensor> out = new ArrayList<>();
      for (TensorSpec spec : opCase.inputs()) {
        in.add(scope.place(spec, opCase.layout(), in.size()));
      }
      for (TensorSpec spec : outputs) {
        out.add(scope.place(spec, opCase.layout(), in.size() + out.size()));
      }
      try (CudaLaunch launch = (CudaLaunch) device.prepare(opCase.op(), in, out)) {
        return new HashSet<>(((KernelsLaunch) launch).functions());
      }
    }
  }

  @Override
  public String toString() {
    return name;
  }
}
