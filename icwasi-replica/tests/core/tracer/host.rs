//! The System API, as far as generated programs use it.

use super::{Flow, Run, Stop};

impl Run<'_, '_> {
    pub fn params(&self, index: u32) -> usize {
        let imports = self.module.imports.len();
        match (index as usize).checked_sub(imports) {
            Some(i) => self.module.functions[i].params,
            None => match self.module.imports[index as usize] {
                "stable64_read" | "stable64_write" => 3,
                "msg_reply_data_append" | "debug_print" => 2,
                "performance_counter" | "stable64_grow" => 1,
                "msg_reply" | "time" => 0,
                other => panic!("not generated: {other}"),
            },
        }
    }

    pub fn results(&self, index: u32) -> usize {
        self.module.functions[index as usize - self.module.imports.len()].results
    }

    pub fn host(&mut self, name: &str, args: &[u64]) -> Flow<Vec<u64>> {
        match name {
            "msg_reply" => {
                self.charge(500)?;
                self.replied = true;
                Ok(vec![])
            }
            "time" => {
                self.charge(500)?;
                Ok(vec![self.time])
            }
            "performance_counter" => {
                self.charge(200)?;
                Ok(vec![(self.limit as i64 - self.left) as u64])
            }
            "msg_reply_data_append" => {
                self.charge(500)?;
                self.charge(50 * args[1])?;
                let range = self.range(args[0], args[1])?;
                let bytes = self.memory[range].to_vec();
                self.reply.extend(bytes);
                Ok(vec![])
            }
            "debug_print" => {
                let len = args[1];
                self.charge(100)?;
                self.charge(2 * len.min(4096) + 50 * len.min(4096 - self.log_used))?;
                let printed = match self.range(args[0], len) {
                    Ok(_) => len,
                    Err(_) => 42,
                };
                self.log_used = (self.log_used + printed).min(4096);
                Ok(vec![])
            }
            "stable64_grow" => {
                self.charge(100)?;
                let old = self.stable_pages;
                self.stable_pages += args[0];
                Ok(vec![old])
            }
            "stable64_write" => {
                let (to, from, len) = (args[0], args[1], args[2]);
                self.charge(20 + len)?;
                if len == 0 {
                    return Ok(vec![]);
                }
                if to + len > self.stable_pages << 16 {
                    return Err(Stop::Trap);
                }
                let pages = to / 4096..=(to + len - 1) / 4096;
                let clean = pages
                    .clone()
                    .filter(|p| !self.stable.contains_key(p))
                    .count();
                self.charge(1000 * clean as u64)?;
                let range = self.range(from, len)?;
                for page in pages {
                    self.stable
                        .entry(page)
                        .or_insert_with(|| Box::new([0; 4096]));
                }
                for (n, at) in range.enumerate() {
                    let to = to + n as u64;
                    let page = self.stable.get_mut(&(to / 4096)).expect("made above");
                    page[(to % 4096) as usize] = self.memory[at];
                }
                Ok(vec![])
            }
            "stable64_read" => {
                let (to, from, len) = (args[0], args[1], args[2]);
                self.charge(20 + len)?;
                if len == 0 {
                    return Ok(vec![]);
                }
                if from + len > self.stable_pages << 16 {
                    return Err(Stop::Trap);
                }
                let range = self.range(to, len)?;
                for (n, at) in range.enumerate() {
                    let from = from + n as u64;
                    let page = self.stable.get(&(from / 4096));
                    self.memory[at] = page.map_or(0, |p| p[(from % 4096) as usize]);
                }
                Ok(vec![])
            }
            other => panic!("not generated: {other}"),
        }
    }
}
