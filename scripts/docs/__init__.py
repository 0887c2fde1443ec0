"""Commands that write the pages of docs/ from runs of the project itself."""
