//! Floor 5: builds the agent, binds, says READY=1, drains.
