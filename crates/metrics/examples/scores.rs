//! Times a score of two sets of features in `.npy` files (f32, [N, D]) and prints it with the peak memory, as JSON:
//! `scores fid|fid-stream|kid|prdc|memory FIRST.npy SECOND.npy`. Files are read before the clock starts, but by `fid-stream`,
//! which never holds them.

use std::error::Error;
use std::fs::{self, File};
use std::io::{BufReader, Read};
use std::time::Instant;

use sumi_metrics::{
    Features, GaussianAccumulator, GaussianStatistics, MemoryOptions, SubsetOptions,
    kernel_distance, memory, prdc,
};

type Outcome<T> = Result<T, Box<dyn Error>>;

/// Rows that are read at once.
const ROWS: usize = 512;

fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [score, first, second] = &arguments[..] else {
        return Err("usage: scores fid|fid-stream|kid|prdc|memory FIRST.npy SECOND.npy".into());
    };
    let mut started = Instant::now();
    let values = match score.as_str() {
        "fid-stream" => vec![streamed(first)?.finish()?.frechet(&streamed(second)?.finish()?)?],
        "fid" => {
            let sets = [single(first)?, single(second)?];
            started = Instant::now();
            let [a, b] = sets.map(|(columns, data)| statistics(columns, &data));
            vec![a?.frechet(&b?)?]
        }
        _ => {
            let (a, b) = (held(first)?, held(second)?);
            started = Instant::now();
            of_features(score, &a, &b)?
        }
    };
    let secs = started.elapsed().as_secs_f64();
    println!("{{\"secs\":{secs},\"memory\":{},\"values\":{values:?}}}", peak_bytes());
    Ok(())
}

fn of_features(score: &str, a: &Features, b: &Features) -> Outcome<Vec<f64>> {
    Ok(match score {
        "kid" => {
            let found = kernel_distance(a, b, &SubsetOptions::default())?;
            vec![found.mean, found.deviation]
        }
        "prdc" => {
            let found = prdc(a, b, 5)?;
            vec![found.precision(), found.recall(), found.density(), found.coverage()]
        }
        "memory" => vec![memory(b, a, &MemoryOptions::default())?.nearer],
        _ => return Err(format!("there is no score {score}").into()),
    })
}

fn statistics(columns: usize, data: &[f32]) -> Outcome<GaussianStatistics> {
    let mut accumulator = GaussianAccumulator::new(columns);
    accumulator.push(data)?;
    Ok(accumulator.finish()?)
}

fn streamed(path: &str) -> Outcome<GaussianAccumulator> {
    let mut accumulator = None;
    read(path, |columns, rows| {
        let accumulator = accumulator.get_or_insert_with(|| GaussianAccumulator::new(columns));
        Ok(accumulator.push(rows)?)
    })?;
    accumulator.ok_or_else(|| format!("{path} has no rows").into())
}

fn single(path: &str) -> Outcome<(usize, Vec<f32>)> {
    let (mut data, mut width) = (Vec::new(), 0);
    read(path, |columns, rows| {
        width = columns;
        data.extend_from_slice(rows);
        Ok(())
    })?;
    Ok((width, data))
}

fn held(path: &str) -> Outcome<Features> {
    let (width, data) = single(path)?;
    Ok(Features::from_f32(data.len() / width, width, &data)?)
}

/// Passes the file to `take`, some rows at a time, with the number of columns.
fn read(path: &str, mut take: impl FnMut(usize, &[f32]) -> Outcome<()>) -> Outcome<()> {
    let mut file = BufReader::new(File::open(path)?);
    let mut start = [0; 10];
    file.read_exact(&mut start)?;
    let mut header = vec![0; usize::from(u16::from_le_bytes([start[8], start[9]]))];
    file.read_exact(&mut header)?;
    let header = String::from_utf8(header)?;
    let shape = header.split(['(', ')']).nth(1).ok_or("no shape")?;
    let shape: Vec<usize> = shape.split(", ").map(str::parse).collect::<Result<_, _>>()?;
    let [rows, columns] = shape[..] else { return Err("the features have not two axes".into()) };
    if !header.contains("'<f4'") || !header.contains("'fortran_order': False") {
        return Err("the features are not f32, row by row".into());
    }
    for block in (0..rows).step_by(ROWS) {
        let mut bytes = vec![0; 4 * columns * ROWS.min(rows - block)];
        file.read_exact(&mut bytes)?;
        let (words, _) = bytes.as_chunks::<4>();
        take(columns, &words.iter().map(|&w| f32::from_le_bytes(w)).collect::<Vec<f32>>())?;
    }
    Ok(())
}

/// The most that the process ever had resident, on Linux.
fn peak_bytes() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok());
    1024 * kib.unwrap_or(0)
}
