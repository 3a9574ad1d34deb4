/* xor_plain.c: training of one net on four rows, as one writes it down in C.
 *
 * Compiled for one net: WIDTHS is the list of its layers' widths, SIGMOID is 1 or 0 (ReLU)
 * for the hidden layers.  The last layer is a sigmoid; the cost is binary cross-entropy.
 */
#include <math.h>

#ifndef WIDTHS
#define WIDTHS 2, 5, 4, 1
#define SIGMOID 1
#endif
static const int widths[] = {WIDTHS};
enum { LAYERS = sizeof widths / sizeof *widths - 1, ROWS = 4, MOST = 8 };

static float sigmoid(float z) { return 1 / (1 + expf(-z)); }

/* x (ROWS, inputs) and t (ROWS, 1); parameters: for each layer the weight (inputs, outputs),
 * then the bias (outputs).  They are trained in place; costs gets the cost before each step. */
void train(const float *x, const float *t, float *parameters, float rate, long steps, float *costs)
{
    float h[LAYERS + 1][ROWS][MOST]; /* what goes into each layer, and the output */
    float gz[ROWS][MOST], gh[ROWS][MOST];
    for (int r = 0; r < ROWS; r++)
        for (int i = 0; i < widths[0]; i++)
            h[0][r][i] = x[r * widths[0] + i];

    for (long step = 0; step < steps; step++) {
        float *w = parameters;
        for (int l = 0; l < LAYERS; l++) {
            const int inputs = widths[l], outputs = widths[l + 1];
            const float *b = w + inputs * outputs;
            for (int r = 0; r < ROWS; r++) {
                for (int j = 0; j < outputs; j++) {
                    float z = b[j];
                    for (int i = 0; i < inputs; i++)
                        z += h[l][r][i] * w[i * outputs + j];
                    h[l + 1][r][j] = SIGMOID || l == LAYERS - 1 ? sigmoid(z) : z > 0 ? z : 0;
                }
            }
            w += (inputs + 1) * outputs;
        }

        float cost = 0;
        for (int r = 0; r < ROWS; r++) {
            const float p = h[LAYERS][r][0];
            cost -= t[r] * logf(p) + (1 - t[r]) * logf(1 - p);
            gz[r][0] = (p - t[r]) / ROWS;
        }
        costs[step] = cost / ROWS;

        for (int l = LAYERS - 1; l >= 0; l--) {
            const int inputs = widths[l], outputs = widths[l + 1];
            w -= (inputs + 1) * outputs;
            float *b = w + inputs * outputs;
            for (int r = 0; l > 0 && r < ROWS; r++) {
                for (int i = 0; i < inputs; i++) {
                    gh[r][i] = 0;
                    for (int j = 0; j < outputs; j++)
                        gh[r][i] += gz[r][j] * w[i * outputs + j];
                }
            }
            for (int j = 0; j < outputs; j++) {
                for (int i = 0; i < inputs; i++) {
                    float gw = 0;
                    for (int r = 0; r < ROWS; r++)
                        gw += h[l][r][i] * gz[r][j];
                    w[i * outputs + j] -= rate * gw;
                }
                float gb = 0;
                for (int r = 0; r < ROWS; r++)
                    gb += gz[r][j];
                b[j] -= rate * gb;
            }
            for (int r = 0; l > 0 && r < ROWS; r++)
                for (int i = 0; i < inputs; i++) {
                    const float y = h[l][r][i];
                    gz[r][i] = gh[r][i] * (SIGMOID ? y * (1 - y) : y > 0);
                }
        }
    }
}
