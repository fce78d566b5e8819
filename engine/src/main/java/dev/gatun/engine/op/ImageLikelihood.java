package dev.gatun.engine.op;

import dev.gatun.engine.DType;
import dev.gatun.engine.Graph;
import dev.gatun.engine.Op;
import dev.gatun.engine.Shape;
import dev.gatun.engine.TensorSpec;
import dev.gatun.engine.Value;
import java.util.Arrays;
import java.util.List;

/**
 * The negative log-likelihood of each image under pixels that are independent of each other.
 *
 * <p>Inputs: parameters [M,H,W,P*C] f32, P blocks of C channels one after another; targets
 * [N,H,W,C] u8 below {@code levels} or, for the densities, f32 as they are. M is a multiple of N:
 * row m is compared with image m % N. Output: nats [M] f32, of each row the sum over H, W and C.
 *
 * <p>With t = pixel / (levels - 1) and x = 2 t - 1, a value's nats are those of its {@link Kind}.
 *
 * @param gradientType dtype of the parameters' gradient; null for f32
 * @see "Kingma and Welling 2014, Auto-Encoding Variational Bayes, appendix C"
 */
public record ImageLikelihood(Kind kind, int levels, DType gradientType) implements Op {
  /** What a value's nats are. */
  public enum Kind {
    /**
     * Of a logit l, softplus(l) - t l: with 2 levels a likelihood, with more the cross-entropy of
     * grey values taken for probabilities. Appendix C.1.
     */
    BERNOULLI(1),
    /**
     * Of a mean and the logarithm v of a variance, (log(2 pi) + v + (x - mean)^2 exp(-v)) / 2: of a
     * density. Appendix C.2.
     */
    GAUSSIAN(2),
    /** Of a mean, (x - mean)^2 / 2: of a normal density of variance 1 without its constant. */
    SQUARED(1),
    /**
     * Of a mean and the logarithm of a scale, those of {@link LogisticMixture} with one component
     * and no coupling between colours: of the mass within half a step of a level.
     */
    LOGISTIC(2);

    private final int blocks;

    Kind(int blocks) {
      this.blocks = blocks;
    }

    /** P: how many parameters a value has. */
    public int blocks() {
      return blocks;
    }

    /** Whether its targets may be any numbers, not levels alone. */
    public boolean isDensity() {
      return this == GAUSSIAN || this == SQUARED;
    }
  }

  @Override
  public String name() {
    return "image_likelihood";
  }

  @Override
  public List<TensorSpec> check(List<TensorSpec> in) {
    requireCount(in, 2, 2);
    TensorSpec parameters = in.get(0);
    TensorSpec targets = in.get(1);
    require(
        parameters.shape().rank() == 4 && parameters.dtype() == DType.F32,
        in,
        "parameters must be [M,H,W,P*C] f32");
    boolean ofLevels = targets.dtype() == DType.U8;
    require(
        targets.shape().rank() == 4
            && (ofLevels || kind.isDensity() && targets.dtype() == DType.F32),
        in,
        "targets must be [N,H,W,C] u8" + (kind.isDensity() ? " or f32" : ""));
    Shape p = parameters.shape();
    Shape t = targets.shape();
    require(p.elements() > 0 && t.elements() > 0, in, "empty input");
    require(levels >= 2 && levels <= 256, in, "levels must be 2 to 256, not " + levels);
    require(
        p.dim(1) == t.dim(1) && p.dim(2) == t.dim(2) && p.dim(3) == (long) kind.blocks() * t.dim(3),
        in,
        "P*C must be " + kind.blocks() + " times C, H and W those of the targets");
    require(p.dim(0) % t.dim(0) == 0, in, "M must be a multiple of N=" + t.dim(0));
    return List.of(TensorSpec.of(DType.F32, p.dim(0)));
  }

  @Override
  public List<Value> backward(
      Graph graph, List<Value> inputs, List<Value> outputs, List<Value> gradients) {
    DType type = gradientType == null ? DType.F32 : gradientType;
    Value dparameters =
        graph.apply(
            new ImageLikelihoodBackward(kind, levels, type),
            inputs.get(0),
            inputs.get(1),
            gradients.getFirst());
    return Arrays.asList(dparameters, null);
  }
}
