package dev.gatun.engine;

import dev.gatun.engine.op.Reshape;

/** A tensor-to-be in a {@link Graph}: known by shape and dtype, given memory when compiled. */
public final class Value {
  final Graph graph;
  final int id;
  final TensorSpec spec;
  final Graph.Node producer; // null for a bound tensor
  Tensor storage; // fixed memory: a bound tensor, or where a result is to be stored

  Value(Graph graph, int id, TensorSpec spec, Graph.Node producer, Tensor storage) {
    this.graph = graph;
    this.id = id;
    this.spec = spec;
    this.producer = producer;
    this.storage = storage;
  }

  public Graph graph() {
    return graph;
  }

  public TensorSpec spec() {
    return spec;
  }

  public Shape shape() {
    return spec.shape();
  }

  public DType dtype() {
    return spec.dtype();
  }

  /** The tensor outside the graph that this value is; null where it is computed. */
  public Tensor bound() {
    return producer == null ? storage : null;
  }

  /** Whether this is another name for the memory of the value that it was reshaped from. */
  boolean isAlias() {
    return producer != null && producer.op() instanceof Reshape && storage == null;
  }

  /** The value whose memory this is: itself, or what it was reshaped from at first. */
  Value root() {
    Value root = this;
    while (root.isAlias()) {
      root = root.producer.inputs().getFirst();
    }
    return root;
  }

  @Override
  public String toString() {
    return "%" + id + " " + spec;
  }
}
