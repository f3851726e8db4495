//! Until the index brings its own (merge: delete).
#![allow(missing_docs)]
use super::*;
use tenement_wire::InstanceName;
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Keep {
    pub age: Option<std::time::Duration>,
    pub bytes: Option<u64>,
}
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Policy {
    pub all: Keep,
    pub processes: std::collections::BTreeMap<String, Keep>,
}
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Gone {
    pub files: usize,
    pub blocks: usize,
}
#[derive(Debug)]
pub struct Usage {
    pub instance: InstanceName,
    pub lines: u64,
    pub bytes: u64,
    pub text_bytes: u64,
    pub days: std::collections::BTreeSet<String>,
}
impl Index {
    pub fn usage(&self) -> Result<Vec<Usage>> {
        Ok(Vec::new())
    }
    pub fn disk_bytes(&self) -> u64 {
        0
    }
}
impl Writer {
    pub fn retain(&mut self, _: &Policy, _: u64) -> Result<Gone> {
        Ok(Gone::default())
    }
    pub fn purge(&mut self, _: &InstanceName) -> Result<usize> {
        Ok(0)
    }
    pub fn compact(&mut self, _: usize) -> Result<usize> {
        Ok(0)
    }
}
