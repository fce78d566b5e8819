package dev.gatun.models.pixelcnn;

import dev.gatun.engine.DType;
import dev.gatun.engine.Graph;
import dev.gatun.engine.PixelDistribution;
import dev.gatun.engine.Value;
import dev.gatun.engine.op.LogisticMixture;
import dev.gatun.models.Model.Nats;
import java.util.List;

/**
 * A discretized mixture of logistic distributions; the means of a colour are coupled to the colours
 * before it, so that one pass of the network serves all of them.
 *
 * @see "Salimans et al. 2017, PixelCNN++, sections 2.1 and 2.2"
 */
public record LogisticMixtures(int mixtures, int levels, int colours) implements Likelihood {
  @Override
  public PixelDistribution distribution() {
    return new PixelDistribution.Logistics(mixtures, levels);
  }

  @Override
  public int parameters() {
    return new LogisticMixture(mixtures, levels, null).channels(colours);
  }

  @Override
  public int passes() {
    return 1;
  }

  /** One chooses the mixture, one more for each colour. */
  @Override
  public int uniforms() {
    return 1 + colours;
  }

  @Override
  public Nats nats(Graph graph, Value parameters, Value images, DType gradientType) {
    List<Value> loss =
        graph.apply(
            new LogisticMixture(mixtures, levels, gradientType), List.of(parameters, images));
    return new Nats(loss.get(0), loss.get(1));
  }

  @Override
  public void draw(
      float[] parameters,
      int offset,
      int pass,
      double temperature,
      Uniforms uniforms,
      byte[] pixel,
      int at) {
    int m = Categorical.draw(parameters, offset, mixtures, temperature, uniforms.get(0));
    int perColour = (colours == 3 ? 3 : 2) * mixtures;
    double[] drawn = new double[colours];
    for (int c = 0; c < colours; c++) {
      int block = offset + mixtures + c * perColour + m;
      double mean = parameters[block];
      // red's coefficient couples green to red, green's blue to red, blue's blue to green
      if (c == 1) {
        mean += coefficient(parameters, offset, 0, m) * drawn[0];
      } else if (c == 2) {
        mean +=
            coefficient(parameters, offset, 1, m) * drawn[0]
                + coefficient(parameters, offset, 2, m) * drawn[1];
      }
      double logScale = Math.max(LogisticMixture.LEAST_LOG_SCALE, parameters[block + mixtures]);
      double u = uniforms.get(1 + c);
      // u is a multiple of 2^-24: kept off 0, where the logistic's inverse is infinite
      double x =
          mean
              + temperature
                  * Math.exp(logScale)
                  * (Math.log(Math.max(u, 0x1p-25)) - Math.log1p(-u));
      // the nearest level is the one whose bin holds x
      double level = Math.floor((x + 1) / 2 * (levels - 1) + 0.5);
      int value = (int) Math.max(0, Math.min(levels - 1, level));
      pixel[at + c] = (byte) value;
      drawn[c] = 2.0 * value / (levels - 1) - 1;
    }
  }

  private double coefficient(float[] parameters, int offset, int colour, int m) {
    return Math.tanh(parameters[offset + mixtures + colour * 3 * mixtures + 2 * mixtures + m]);
  }
}
