-- How many tasks of each endpoint are in each state.
SELECT endpoint, state, tasks FROM tally
