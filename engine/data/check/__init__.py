"""The data check: what is wrong with a data set's pictures and labels, found without torch; what needs features is joined in `engine.passport`."""
