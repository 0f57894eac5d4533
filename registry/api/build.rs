//! Compiles the .proto files in pure Rust (protox): no protoc needed.

use std::{env, fs, path::PathBuf};

use prost::Message;

const FILES: [&str; 6] =
    ["auth.proto", "kv.proto", "rpc.proto", "peer.proto", "v3lock.proto", "v3election.proto"];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=proto");
    let mut compiler = protox::Compiler::new(["proto"])?;
    compiler.include_source_info(true);
    compiler.open_files(FILES)?;
    let descriptors = compiler.file_descriptor_set();
    let out = PathBuf::from(env::var("OUT_DIR")?);
    fs::write(out.join("descriptors.bin"), descriptors.encode_to_vec())?;
    tonic_prost_build::configure().bytes(".").compile_fds(descriptors)?;
    Ok(())
}
