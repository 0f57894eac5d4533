//! A queue in memory is the model; restarts and torn files are between any two steps.

use proptest::prelude::*;

use super::*;

fn record(n: u32, size: usize) -> Record {
    Record { made_ms: i64::from(n), samples: n, shard: 0, shards: 1, body: vec![n as u8; size] }
}

/// Everything that is not done.
fn rest(spool: &Spool) -> Vec<u32> {
    let (mut all, mut at) = (Vec::new(), spool.position());
    while let Some(entry) = spool.read(at).expect("readable") {
        assert!(entry.at >= at && entry.next > entry.at);
        at = entry.next;
        all.push(entry.record.samples);
    }
    all
}

#[test]
fn what_is_done_is_gone_and_the_rest_survives() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut spool = Spool::open(dir.path(), 1 << 30).expect("opens");
    for n in 1..=3 {
        assert_eq!(spool.append(&record(n, 10)).expect("written"), 0);
    }
    let first = spool.read(spool.position()).expect("readable").expect("there");
    assert_eq!(first.record, record(1, 10));
    spool.done(first.next, 1).expect("saved");
    assert_eq!((rest(&spool), spool.samples()), (vec![2, 3], 5));
    // The process is killed while it writes.
    let file = fs::read_dir(dir.path()).expect("folder").map(|e| e.expect("entry").path());
    let file = file.into_iter().find(|p| p.extension().is_some_and(|e| e == "seg")).expect("one");
    let torn = encode(&record(4, 10));
    let mut end = OpenOptions::new().append(true).open(&file).expect("opens");
    end.write_all(&torn[..torn.len() - 1]).expect("written");
    drop(spool);
    let mut spool = Spool::open(dir.path(), 1 << 30).expect("opens");
    assert_eq!((rest(&spool), spool.samples()), (vec![2, 3], 5));
    spool.append(&record(5, 10)).expect("written");
    assert_eq!(rest(&spool), [2, 3, 5]);
    // A position that is damaged: everything is sent again.
    fs::write(dir.path().join("position"), b"nonsense that is long enough").expect("written");
    assert_eq!(rest(&Spool::open(dir.path(), 1 << 30).expect("opens")), [1, 2, 3, 5]);
}

#[test]
fn the_oldest_goes_when_there_is_too_much() {
    let dir = tempfile::tempdir().expect("a folder");
    let third = SEGMENT_BYTES_MAX as usize / 3 + 1;
    let mut spool = Spool::open(dir.path(), 3 * SEGMENT_BYTES_MAX).expect("opens");
    let lost: u64 = (1..=12).map(|n| spool.append(&record(n, third)).expect("written")).sum();
    assert_eq!(lost, 1 + 2 + 3 + 4 + 5 + 6);
    assert_eq!(rest(&spool), [7, 8, 9, 10, 11, 12]);
    assert!(spool.bytes() <= 3 * SEGMENT_BYTES_MAX);
    drop(spool);
    let spool = Spool::open(dir.path(), 3 * SEGMENT_BYTES_MAX).expect("opens");
    assert_eq!((rest(&spool), spool.samples()), (vec![7, 8, 9, 10, 11, 12], 57));
}

#[derive(Debug, Clone)]
enum Step {
    Append(usize),
    Done(usize),
    Restart,
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn as_a_queue_in_memory(steps in prop::collection::vec(prop_oneof![
        3 => prop_oneof![0..100_usize, Just(1_500_000)].prop_map(Step::Append),
        2 => (0..4_usize).prop_map(Step::Done),
        1 => Just(Step::Restart),
    ], 0..30)) {
        let dir = tempfile::tempdir().expect("a folder");
        let mut spool = Spool::open(dir.path(), 1 << 30).expect("opens");
        let (mut model, mut count) = (VecDeque::new(), 0);
        for step in steps {
            match step {
                Step::Append(size) => {
                    count += 1;
                    spool.append(&record(count, size)).expect("written");
                    model.push_back(count);
                }
                Step::Done(n) => for _ in 0..n {
                    let Some(entry) = spool.read(spool.position()).expect("readable") else { break };
                    prop_assert_eq!(Some(entry.record.samples), model.pop_front());
                    spool.done(entry.next, entry.record.samples).expect("saved");
                },
                Step::Restart => {
                    drop(spool);
                    spool = Spool::open(dir.path(), 1 << 30).expect("opens");
                }
            }
            prop_assert_eq!(rest(&spool), model.iter().copied().collect::<Vec<_>>());
            prop_assert_eq!(spool.samples(), model.iter().map(|n| u64::from(*n)).sum::<u64>());
        }
        prop_assert!(spool.bytes() <= model.len() as u64 * 1_600_000 + SEGMENT_BYTES_MAX + 1_600_000);
    }

    #[test]
    fn damage_is_passed_over(at in 0..400_usize, byte: u8) {
        let dir = tempfile::tempdir().expect("a folder");
        let mut spool = Spool::open(dir.path(), 1 << 30).expect("opens");
        for n in 1..=5 {
            spool.append(&record(n, 50)).expect("written");
        }
        drop(spool);
        let path = dir.path().join(format!("{:020}.seg", 1));
        let mut bytes = fs::read(&path).expect("readable");
        let at = at % bytes.len();
        bytes[at] = byte;
        fs::write(&path, bytes).expect("written");
        let spool = Spool::open(dir.path(), 1 << 30).expect("opens");
        let left = rest(&spool);
        prop_assert!(left.starts_with(&[1, 2, 3, 4, 5][..at / 74]), "{:?}", left);
    }
}
