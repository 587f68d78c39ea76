//! Which of several processes this one is, as its starter says.

use crate::{Result, TrainError};

/// Who has started the processes of a training.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Starter {
    /// Open MPI's `mpirun`.
    OpenMpi,
    /// MPICH's `mpiexec` and its kin.
    Pmi,
    /// PyTorch's `torchrun`.
    Torchrun,
    /// Slurm's `srun`.
    Slurm,
}

/// Names of the variables in which a starter tells the number of a process, how many there are, and its number on its machine.
struct Names {
    starter: Starter,
    rank: &'static str,
    /// The first one that is set counts.
    ranks: &'static [&'static str],
    local_rank: &'static str,
}

/// The innermost starter first: `mpirun` and `torchrun` are often started by Slurm.
const STARTERS: [Names; 4] = [
    Names {
        starter: Starter::OpenMpi,
        rank: "OMPI_COMM_WORLD_RANK",
        ranks: &["OMPI_COMM_WORLD_SIZE"],
        local_rank: "OMPI_COMM_WORLD_LOCAL_RANK",
    },
    Names { starter: Starter::Torchrun, rank: "RANK", ranks: &["WORLD_SIZE"], local_rank: "LOCAL_RANK" },
    Names {
        starter: Starter::Slurm,
        rank: "SLURM_PROCID",
        ranks: &["SLURM_STEP_NUM_TASKS", "SLURM_NTASKS"],
        local_rank: "SLURM_LOCALID",
    },
    Names { starter: Starter::Pmi, rank: "PMI_RANK", ranks: &["PMI_SIZE"], local_rank: "MPI_LOCALRANKID" },
];

/// What tells a process that Slurm started of the others, by `srun --mpi=pmix` or `--mpi=pmi2`.
const TOLD_BY_SLURM: [&str; 3] = ["PMIX_NAMESPACE", "PMIX_RANK", "PMI_FD"];

/// More processes than this are a mistake.
const MOST: usize = 65536;

/// This process among those that were started together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Launch {
    /// Its number, from 0.
    pub rank: usize,
    /// How many there are.
    pub ranks: usize,
    /// Its number among those on its machine: which GPU it takes.
    pub local_rank: usize,
    /// Who says so; `None`: nobody, it is alone.
    pub starter: Option<Starter>,
    /// The variable that says how many there are, for messages.
    pub variable: &'static str,
    /// Whether the starter tells MPI of the others: Slurm does where it is asked to.
    pub told: bool,
    /// Host and port at which the first process can be met, where they are known.
    pub meeting: Option<(String, u16)>,
}

impl Launch {
    /// One process, started by hand.
    pub const ALONE: Self =
        Self { rank: 0, ranks: 1, local_rank: 0, starter: None, variable: "", told: true, meeting: None };

    /// What the environment says. Without a starter's variables there is one process.
    ///
    /// # Errors
    /// Variables that are no numbers, or contradict each other.
    pub fn from_env() -> Result<Self> {
        Self::read(|name| std::env::var(name).ok())
    }

    /// The same, of any variables.
    ///
    /// # Errors
    /// As there.
    pub fn read(variable: impl Fn(&str) -> Option<String>) -> Result<Self> {
        let wrong = |name: &str, value: &str, expected: &str| TrainError::Processes {
            problem: format!("{name} is {value:?}, expected {expected}"),
        };
        let number = |name: &str, value: String, most: usize| match value.trim().parse() {
            Ok(number) if number < most => Ok(number),
            _ => Err(wrong(name, &value, &format!("a number below {most}"))),
        };
        for Names { starter, rank, ranks, local_rank } in STARTERS {
            let count = ranks.iter().find_map(|name| Some((*name, variable(name)?)));
            let (Some(number_of), Some((count_name, count))) = (variable(rank), count) else { continue };
            let ranks = number(count_name, count, MOST + 1)?;
            if ranks == 0 {
                return Err(wrong(count_name, "0", "at least 1"));
            }
            let rank = number(rank, number_of, ranks)?;
            let local_rank = variable(local_rank).map_or(Ok(0), |value| number(local_rank, value, ranks))?;
            let port =
                variable("MASTER_PORT").map(|port| port.parse().map_err(|_| wrong("MASTER_PORT", &port, "a port")));
            let meeting = variable("MASTER_ADDR").zip(port.transpose()?);
            let told = starter != Starter::Slurm || TOLD_BY_SLURM.iter().any(|name| variable(name).is_some());
            return Ok(Self { rank, ranks, local_rank, starter: Some(starter), variable: count_name, told, meeting });
        }
        Ok(Self::ALONE)
    }

    /// Whether this process is the one that writes and speaks.
    pub fn is_first(&self) -> bool {
        self.rank == 0
    }

    /// A refusal that all processes come to by themselves.
    pub(super) fn refused(&self, problem: String) -> TrainError {
        if self.is_first() { TrainError::Processes { problem } } else { TrainError::Elsewhere }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<Launch> {
        Launch::read(|name| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned()))
    }

    #[test]
    fn every_starter_is_understood() {
        assert_eq!(read(&[]).unwrap(), Launch::ALONE);
        assert_eq!(read(&[("WORLD_SIZE", "4")]).unwrap(), Launch::ALONE);
        let numbers = |launch: Launch| (launch.starter, launch.rank, launch.ranks, launch.local_rank);
        let torch =
            [("RANK", "3"), ("WORLD_SIZE", "4"), ("LOCAL_RANK", "1"), ("MASTER_ADDR", "a"), ("MASTER_PORT", "29500")];
        let found = read(&torch).unwrap();
        assert_eq!(found.meeting, Some(("a".to_owned(), 29500)));
        assert_eq!(numbers(found), (Some(Starter::Torchrun), 3, 4, 1));
        let slurm = [("SLURM_PROCID", "1"), ("SLURM_NTASKS", "2"), ("SLURM_LOCALID", "0")];
        assert_eq!(numbers(read(&slurm).unwrap()), (Some(Starter::Slurm), 1, 2, 0));
        let by_pmix = [&slurm[..], &[("PMIX_NAMESPACE", "slurm.pmix.4.0")]].concat();
        assert_eq!([&slurm[..], &by_pmix].map(|told| read(told).unwrap().told), [false, true]);
        // a step of one task in a job of two
        let step = [("SLURM_PROCID", "0"), ("SLURM_NTASKS", "2"), ("SLURM_STEP_NUM_TASKS", "1")];
        assert_eq!(numbers(read(&step).unwrap()), (Some(Starter::Slurm), 0, 1, 0));
        let ompi = [("OMPI_COMM_WORLD_RANK", "0"), ("OMPI_COMM_WORLD_SIZE", "3"), ("OMPI_COMM_WORLD_LOCAL_RANK", "0")];
        assert_eq!(numbers(read(&[&ompi[..], &slurm].concat()).unwrap()), (Some(Starter::OpenMpi), 0, 3, 0));
        assert_eq!(numbers(read(&[("PMI_RANK", "1"), ("PMI_SIZE", "2")]).unwrap()), (Some(Starter::Pmi), 1, 2, 0));
    }

    #[test]
    fn nonsense_is_refused_by_name() {
        let refused = |variables: &[(&str, &str)]| read(variables).unwrap_err().to_string();
        assert!(refused(&[("RANK", "2"), ("WORLD_SIZE", "2")]).contains("RANK is \"2\", expected a number below 2"));
        assert!(refused(&[("RANK", "a"), ("WORLD_SIZE", "2")]).contains("RANK is \"a\""));
        assert!(refused(&[("RANK", "0"), ("WORLD_SIZE", "0")]).contains("WORLD_SIZE is \"0\", expected at least 1"));
        let port = [("RANK", "0"), ("WORLD_SIZE", "2"), ("MASTER_ADDR", "a"), ("MASTER_PORT", "x")];
        assert!(refused(&port).contains("MASTER_PORT is \"x\""));
    }
}
