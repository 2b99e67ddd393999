"""Words and numbers that commands offer and the wings know: light to import, for --help and Tab."""

TARGETS = ("host", "cortex-m0plus", "cortex-m3", "cortex-m4f", "cortex-m7", "cortex-m33", "rv32imafc")
REALS = ("float", "double")
DEVICE_GRADIENTS = ("exact", "sampled")
WITHIN = ("level", "polytope")  # sets that a guard may keep
MOST_AHEAD = 100  # steps of a guard's lookahead
GUARDED_EPISODES = 20_000
EPISODES = 200  # of each policy, in a simulation
MOST_EPISODES = 1_000_000
BUDGET = 1_000_000  # rollouts of a search
EPSILON = 1e-4  # takes 138 149 rollouts, seconds for small plants; a tenth of it takes ten times as many
BETA = 1e-6  # of a million policies that violate more often than ε, at most one passes; 1e-9 takes half as many more
MOST_SEED = (1 << 53) - 1  # whole numbers that every reader of JSON can hold
MOST_WORKERS = 1024  # processes
SECONDS = 600.0  # of a proof
BOXES = 4_000_000  # of a cover
SAMPLES, STEPS = 1000, 30  # of a device: in closed loop, and of its adaptation
CONFIDENCE, MARGIN = 0.99, 0.1  # of identified ranges
MOST_POINTS = 100_000  # of a sweep, unless a user says that more are meant
