//! Executors by name.

use taskfarm::Backend;

fn unknown() -> String {
    "gpu".parse::<Backend>().unwrap_err().to_string()
}

#[test]
fn names_parse_to_what_prints_them() {
    for backend in Backend::available() {
        assert_eq!(backend.to_string().parse(), Ok(backend));
    }
    assert_eq!("inline".parse(), Ok(Backend::Serial));
}

#[test]
fn an_unknown_name_lists_the_known_ones() {
    let message = unknown();
    for name in ["\"gpu\"", "serial", "threads", "rayon", "process"] {
        assert!(message.contains(name), "{message}");
    }
}

#[test]
#[cfg(not(feature = "rayon"))]
fn a_backend_that_is_switched_off_says_how_to_switch_it_on() {
    assert!(unknown().contains("rayon (needs the feature \"rayon\""));
    let error = Backend::Rayon.build(None).err().unwrap().to_string();
    assert!(
        error.contains("cargo add taskfarm --features rayon"),
        "{error}"
    );
}

#[test]
#[cfg(feature = "process")]
fn processes_do_not_pass_for_threads() {
    let error = Backend::Process.build(None).err().unwrap();
    assert!(error.to_string().contains("build_any"), "{error}");
}

#[test]
fn zero_workers_are_an_error_on_every_backend() {
    for backend in Backend::available().filter(|backend| *backend != Backend::Process) {
        let error = backend.build(Some(0)).err().unwrap();
        assert!(error.to_string().contains("num_workers"), "{backend}");
    }
}

#[test]
fn pools_have_the_workers_that_were_asked_for() {
    for backend in Backend::available().filter(|backend| *backend != Backend::Process) {
        let expected = if backend == Backend::Serial { 1 } else { 3 };
        let executor = backend.build(Some(3)).unwrap();
        assert_eq!(executor.parallelism().get(), expected, "{backend}");
    }
}
