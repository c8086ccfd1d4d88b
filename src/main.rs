//! The `chathooks` binary: parses nothing and decides nothing itself, see [`chathooks::cli`].

fn main() -> std::process::ExitCode {
    chathooks::cli::main()
}
