//! Floor 2: builds unit pairs from root-owned config, and the agent's client for that.
