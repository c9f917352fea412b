//! Runs a command to its end, shows its lines as they come, and names the last ones in an error message.

use std::io::{BufRead, BufReader, Read};
use std::process::{Command, Stdio};
use std::thread;

use anyhow::{Context, bail};

use super::error::tail;

const TAIL: usize = 15;

/// Runs it and returns its standard output. Lines of its standard error go to `show` as they come. `hint` says what it needs.
pub(crate) fn run(command: &mut Command, hint: &str, mut show: impl FnMut(&str)) -> anyhow::Result<String> {
    let line = describe(command);
    let not_started = || format!("`{line}` cannot be started; {hint}");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().with_context(not_started)?;
    let stdout = child.stdout.take();
    let reader = thread::spawn(move || {
        let mut text = Vec::new();
        if let Some(mut stdout) = stdout {
            // What could be read is what there is: the exit status decides.
            drop(stdout.read_to_end(&mut text));
        }
        String::from_utf8_lossy(&text).into_owned()
    });
    let mut errors = String::new();
    if let Some(stderr) = child.stderr.take() {
        for said in BufReader::new(stderr).split(b'\n').map_while(Result::ok) {
            let said = String::from_utf8_lossy(&said);
            show(said.trim_end());
            errors.push_str(said.trim_end());
            errors.push('\n');
        }
    }
    let output = reader.join().unwrap_or_default();
    let status = child.wait().with_context(not_started)?;
    if status.success() {
        return Ok(output);
    }
    let said = if errors.trim().is_empty() { &output } else { &errors };
    bail!("`{line}` failed ({status}); {hint}. It ended with:\n{}", tail(said, TAIL))
}

/// The command line, as one would type it.
fn describe(command: &Command) -> String {
    let mut words = vec![command.get_program().to_string_lossy().into_owned()];
    words.extend(command.get_args().map(|word| {
        let word = word.to_string_lossy();
        if word.contains([' ', '"', ';']) { format!("'{word}'") } else { word.into_owned() }
    }));
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_comes_back_and_errors_are_shown() {
        let mut seen = Vec::new();
        let output =
            run(Command::new("sh").args(["-c", "echo out; echo err >&2"]), "", |line| seen.push(line.to_owned()));
        assert_eq!(output.unwrap(), "out\n");
        assert_eq!(seen, ["err"]);
    }

    #[test]
    fn a_failure_names_the_command_what_it_said_and_what_it_needs() {
        let error = run(Command::new("sh").args(["-c", "echo no route >&2; exit 3"]), "it needs the network", |_| {})
            .unwrap_err();
        let text = error.to_string();
        for part in ["sh -c 'echo no route >&2; exit 3'", "it needs the network", "no route", "3"] {
            assert!(text.contains(part), "{text}");
        }
    }

    #[test]
    fn a_missing_command_is_named() {
        let error = run(&mut Command::new("no-such-command-here"), "install it", |_| {}).unwrap_err();
        assert!(error.to_string().contains("no-such-command-here"), "{error}");
        assert!(error.to_string().contains("install it"), "{error}");
    }
}
