//! What a submission may ask for beside the settings of its endpoint.

use std::time::Duration;

use super::SubmitError;
use crate::limits::Limits;
use crate::task::NewTask;

/// Takes the options of a task that are within the bounds of the system.
///
/// # Errors
/// [`SubmitError::OutOfBounds`], which names the option, what was asked for, and the bound.
pub fn within(task: &NewTask, limits: &Limits) -> Result<(), SubmitError> {
    let options = &task.options;
    if let Some(asked) = options.max_attempts
        && !(1..=limits.max_attempts).contains(&asked)
    {
        let bound = format!("it can be 1 to {} (Limits::max_attempts)", limits.max_attempts);
        return Err(SubmitError::OutOfBounds { option: "max_attempts", asked: asked.to_string(), bound });
    }
    let times = [
        ("timeout", options.timeout, limits.run_time_max, "Limits::run_time_max"),
        ("retention", options.retention, limits.retention_max, "Limits::retention_max"),
    ];
    for (option, asked, most, limit) in times {
        if let Some(asked) = asked.filter(|asked| asked.is_zero() || *asked > most) {
            let bound = format!("it can be anything over 0 s up to {} ({limit})", show(most));
            return Err(SubmitError::OutOfBounds { option, asked: show(asked), bound });
        }
    }
    Ok(())
}

/// In whole seconds where it is that.
fn show(time: Duration) -> String {
    match time.subsec_nanos() {
        0 => format!("{} s", time.as_secs()),
        _ => format!("{time:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::task::{EndpointName, Input, TaskOptions};

    fn refusal(options: TaskOptions) -> Option<String> {
        let endpoint = EndpointName::new("echo").expect("it is a name");
        let task = NewTask { options, ..NewTask::new(endpoint, Input::default()) };
        within(&task, &Limits::default()).err().map(|refusal| refusal.to_string())
    }

    #[test]
    fn an_option_out_of_bounds_is_refused_with_the_bound() {
        let seconds = |seconds| Some(Duration::from_secs(seconds));
        let good = TaskOptions { max_attempts: Some(100), timeout: seconds(1), ..TaskOptions::default() };
        assert_eq!(refusal(good), None);
        let cases = [
            (
                TaskOptions { max_attempts: Some(0), ..TaskOptions::default() },
                "max_attempts = 0, but it can be 1 to 100",
            ),
            (TaskOptions { max_attempts: Some(101), ..TaskOptions::default() }, "max_attempts = 101, but"),
            (TaskOptions { timeout: seconds(0), ..TaskOptions::default() }, "timeout = 0 s, but it can be anything"),
            (TaskOptions { timeout: seconds(86_401), ..TaskOptions::default() }, "timeout = 86401 s, but"),
            (TaskOptions { retention: seconds(9_999_999), ..TaskOptions::default() }, "up to 2592000 s (Limits::ret"),
        ];
        for (options, says) in cases {
            let refusal = refusal(options).expect("it is out of bounds");
            assert!(refusal.contains(says), "{refusal}");
        }
    }
}
