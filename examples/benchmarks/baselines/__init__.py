"""Methods to compare SCPO with, all over one oracle that counts rollouts, and one judge of what they deploy."""
