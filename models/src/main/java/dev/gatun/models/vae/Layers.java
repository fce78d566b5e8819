package dev.gatun.models.vae;

import dev.gatun.engine.DType;
import dev.gatun.engine.Graph;
import dev.gatun.engine.Op;
import dev.gatun.engine.Shape;
import dev.gatun.engine.Value;
import dev.gatun.engine.op.AddBias;
import dev.gatun.engine.op.Conv2d;
import dev.gatun.engine.op.FoldUpsampling;
import dev.gatun.engine.op.GroupNorm;
import dev.gatun.engine.op.Reshape;
import dev.gatun.engine.op.Taps;
import dev.gatun.engine.train.ParameterSpec;
import dev.gatun.models.Model;
import java.util.ArrayList;
import java.util.List;

/**
 * Layers by name, declared or applied: a network is described once, and where there is no graph its
 * description leaves the list of its parameters behind. Values are null then.
 */
final class Layers {
  private static final Taps THREE = Taps.square(3);
  private static final float EPSILON = 1e-5f;

  /** Of channels, to be normalized together. */
  static final int GROUPS = 8;

  private final Graph graph; // or null
  private final Model.Weights weights;
  private final List<ParameterSpec> declared = new ArrayList<>();

  private Layers(Graph graph, Model.Weights weights) {
    this.graph = graph;
    this.weights = weights;
  }

  /** Layers whose parameters are wanted. */
  static Layers declared() {
    return new Layers(null, null);
  }

  /** Layers of a graph. */
  static Layers in(Graph graph, Model.Weights weights) {
    return new Layers(graph, weights);
  }

  List<ParameterSpec> parameters() {
    return declared;
  }

  private Value parameter(ParameterSpec spec) {
    if (graph == null) {
      declared.add(spec);
      return null;
    }
    return weights.get(spec.name());
  }

  /** An op without parameters. */
  Value apply(Op op, Value x) {
    return graph == null ? null : graph.apply(op, x);
  }

  /** The same values in another shape; the number of images stays. */
  Value reshape(Value x, int... image) {
    if (graph == null) {
      return null;
    }
    int[] dims = new int[image.length + 1];
    dims[0] = x.shape().dim(0);
    System.arraycopy(image, 0, dims, 1, image.length);
    return graph.apply(new Reshape(dims), x);
  }

  /**
   * All to all.
   *
   * @param x [N,1,1,in]
   * @param gain of the weights' variance
   * @param outputType null for x's
   * @return [N,1,1,out]
   */
  Value dense(String name, Value x, int in, int out, double gain, DType outputType) {
    return conv(name, Taps.point(), 1, x, in, out, gain, outputType, null);
  }

  /** A 3x3 convolution. */
  Value conv3(String name, Value x, int in, int out) {
    return conv(name, THREE, 1, x, in, out, 1, null, null);
  }

  /** A 3x3 convolution to half the resolution. */
  Value halve(String name, Value x, int in, int out) {
    return conv(name, THREE, 2, x, in, out, 1, null, null);
  }

  Value conv(
      String name,
      Taps taps,
      int stride,
      Value x,
      int in,
      int out,
      double gain,
      DType outputType,
      Value residual) {
    Value w = parameter(ParameterSpec.weights(name + ".weight", taps.count(), in, out, gain));
    Value bias = parameter(ParameterSpec.bias(name + ".bias", out));
    if (graph == null) {
      return null;
    }
    Conv2d conv = new Conv2d(taps, stride, stride, outputType);
    return residual == null
        ? graph.apply(conv, x, w, bias)
        : graph.apply(conv, x, w, bias, residual);
  }

  /** Nearest-neighbour up-sampling by 2 and a 3x3 convolution. */
  Value enlarge(String name, Value x, int in, int out) {
    Value w = parameter(ParameterSpec.weights(name + ".weight", THREE.count(), in, out, 1));
    Value bias =
        parameter(
            new ParameterSpec(
                name + ".bias", Shape.of(1, out), new ParameterSpec.Init.Constant(0)));
    if (graph == null) {
      return null;
    }
    Shape s = x.shape();
    Shape large = Shape.of(s.dim(0), 2 * s.dim(1), 2 * s.dim(2), out);
    Value folded = graph.apply(new FoldUpsampling(), w);
    return graph.apply(
        new AddBias(), graph.apply(FoldUpsampling.convolution(large), folded, x), bias);
  }

  /** Group normalization and SiLU. */
  Value norm(String name, Value x, int channels) {
    Value gamma =
        parameter(
            new ParameterSpec(
                name + ".weight", Shape.of(channels), new ParameterSpec.Init.Constant(1)));
    Value beta = parameter(ParameterSpec.bias(name + ".bias", channels));
    return graph == null ? null : graph.apply(new GroupNorm(GROUPS, EPSILON, true), x, gamma, beta);
  }

  /**
   * x + conv(f(norm(conv(f(norm(x)))))), f the SiLU.
   *
   * @see "He et al. 2016, Identity Mappings in Deep Residual Networks, section 3"
   */
  Value residual(String name, Value x, int channels) {
    Value h = norm(name + ".norm1", x, channels);
    h = conv3(name + ".conv1", h, channels, channels);
    h = norm(name + ".norm2", h, channels);
    // starts close to the identity
    return conv(name + ".conv2", THREE, 1, h, channels, channels, 0.01, null, x);
  }
}
