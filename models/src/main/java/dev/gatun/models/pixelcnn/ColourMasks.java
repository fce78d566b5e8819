package dev.gatun.models.pixelcnn;

import dev.gatun.engine.Graph;
import dev.gatun.engine.Value;
import dev.gatun.engine.op.MaskChannels;

/**
 * The masks that let a colour of a pixel see only those before it. Grey images need none: there a
 * tap is in the list or it is not.
 *
 * @see "van den Oord et al. 2016, Pixel Recurrent Neural Networks, section 3.4"
 */
record ColourMasks(int colours) {
  /** Mask A: at {@code centre} strictly earlier colours; the input has a channel of ones. */
  Value a(Graph g, Value weights, int centre) {
    return colours == 1 ? weights : g.apply(new MaskChannels(centre, colours, true, 1), weights);
  }

  /** Mask B: at {@code centre} the same colour too. */
  Value b(Graph g, Value weights, int centre) {
    return colours == 1 ? weights : g.apply(new MaskChannels(centre, colours, false, 0), weights);
  }
}
