//! The flows against a systemd that is played by a task: wake, sleep, crashes, reloads, races.

mod counts;
mod crash;
mod cron;
mod deploys;
mod fake;
mod health;
mod history;
mod idle;
mod limits;
mod manage;
mod migrations;
mod observe;
mod pair;
mod park;
mod poll;
mod releases;
mod reload;
mod resumed;
mod stress;
mod tasks;
mod tiers;
mod wake;
mod world;
