package dev.gatun.engine.op;

import dev.gatun.engine.DType;
import dev.gatun.engine.Op;
import dev.gatun.engine.TensorSpec;
import java.util.List;

/**
 * One step of Adam over a flat parameter arena, with gradient clipping by global norm,
 * learning-rate warm-up and decay, and an exponential moving average of the weights.
 *
 * <p>Inputs, all but the last two updated in place: parameters, first moment, second moment, EMA,
 * each [n] f32; state [1] f64, the number of steps done; then gradients [n] f32 and their squared
 * norm [1] f64 (see {@link SquaredNorm}). No outputs.
 *
 * <p>With t the step counted from 1: g is scaled by min(1, clipNorm / norm); the learning rate is
 * {@code learningRate * min(1, t / warmupSteps) * decay^t}; the EMA's decay is min(emaDecay, t / (t
 * + 10)), so that early averages do not hold on to the initial weights.
 *
 * @param clipNorm no clipping where it is infinite
 * @see "Kingma and Ba 2015, Adam, algorithm 1"
 */
public record Adam(
    double learningRate,
    double beta1,
    double beta2,
    double epsilon,
    int warmupSteps,
    double decay,
    double clipNorm,
    double emaDecay)
    implements Op {
  @Override
  public String name() {
    return "adam";
  }

  @Override
  public List<TensorSpec> check(List<TensorSpec> in) {
    requireCount(in, 7, 7);
    TensorSpec p = in.getFirst();
    require(p.shape().rank() == 1 && p.dtype() == DType.F32, in, "parameters must be [n] f32");
    for (int i : new int[] {1, 2, 3, 5}) {
      require(in.get(i).equals(p), in, "moments, EMA and gradients must be like the parameters");
    }
    TensorSpec scalar = TensorSpec.of(DType.F64, 1);
    require(in.get(4).equals(scalar), in, "state must be [1] f64");
    require(in.get(6).equals(scalar), in, "squared norm must be [1] f64");
    return List.of();
  }

  @Override
  public List<Integer> mutates() {
    return List.of(0, 1, 2, 3, 4);
  }

  /** The learning rate of step {@code t}, counted from 1. */
  public double rate(double t) {
    return learningRate * (warmupSteps > 0 ? Math.min(1, t / warmupSteps) : 1) * Math.pow(decay, t);
  }

  /** The EMA's decay at step {@code t}, counted from 1. */
  public double emaDecayAt(double t) {
    return Math.min(emaDecay, t / (t + 10));
  }

  /** What gradients of the given squared norm are multiplied by. */
  public double clipScale(double squaredNorm) {
    double norm = Math.sqrt(squaredNorm);
    return norm > clipNorm ? clipNorm / norm : 1;
  }
}
