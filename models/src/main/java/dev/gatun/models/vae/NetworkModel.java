package dev.gatun.models.vae;

import dev.gatun.engine.DType;
import dev.gatun.engine.Graph;
import dev.gatun.engine.Value;
import dev.gatun.engine.train.ParameterSpec;
import java.util.ArrayList;
import java.util.List;

/** What the models have in common that are an encoder, a decoder and something in between. */
abstract sealed class NetworkModel implements CodingModel permits Autoencoder, Vae {
  private final String name;
  private final Pixels pixels;
  private final VaeNetwork network;

  NetworkModel(String name, Pixels pixels, VaeNetwork network) {
    this.name = name;
    this.pixels = pixels;
    this.network = network;
  }

  final VaeNetwork network() {
    return network;
  }

  /** Of what is in between. */
  abstract List<ParameterSpec> latentParameters();

  /** What the encoder says, [N,1,1,headSize] f32. */
  final Value head(Graph g, Weights w, Input input) {
    return network.encode(g, w, network.scaled(g, input.images(), input.type()));
  }

  /** Nats of each image, or of each sample of it, given latents [M,1,1,D]; [M] f32. */
  final Value nats(Graph g, Weights w, Value z, Input input) {
    return g.apply(pixels.nats(input.type()), decode(g, w, z, input.type()), input.images());
  }

  @Override
  public final String name() {
    return name;
  }

  @Override
  public final Pixels pixels() {
    return pixels;
  }

  @Override
  public final List<ParameterSpec> parameters() {
    List<ParameterSpec> all = new ArrayList<>(network.encoderParameters());
    all.addAll(latentParameters());
    all.addAll(network.decoderParameters());
    return all;
  }

  @Override
  public final List<ParameterSpec> encoderParameters() {
    return network.encoderParameters();
  }

  @Override
  public final ImageShape imageShape() {
    return network.config().shape();
  }

  @Override
  public final int levels() {
    return VaeNetwork.LEVELS;
  }

  @Override
  public final DType dataType() {
    return network.config().points() ? DType.F32 : DType.U8;
  }

  @Override
  public final int classes() {
    return 0;
  }

  @Override
  public final Value decode(Graph g, Weights w, Value z, DType type) {
    return network.decode(g, w, z, type);
  }
}
