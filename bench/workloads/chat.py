"""Short questions and small tasks, one user turn each, in the model's own chat template."""

from __future__ import annotations

from bench.config.settings import WorkloadBlock
from bench.workloads import Prompt

QUESTIONS = (
    "What is the capital of France?",
    "Explain in two sentences why the sky looks blue.",
    "Write a Python function that returns the n-th Fibonacci number.",
    "List three ways to save electricity at home.",
    "Translate into Spanish: The library opens at nine on weekdays and at ten on Saturdays.",
    "What is the difference between a list and a tuple in Python?",
    "Summarise this in one sentence: The committee met on Tuesday to review the budget. After two hours it "
    "agreed to move a tenth of the marketing money to support, and to look at the numbers again in March.",
    "A train leaves at 14:10 and arrives at 16:45. How long is the journey?",
    "Give me a recipe for pancakes with the amounts for four people.",
    "Who wrote Pride and Prejudice, and in which year did it appear?",
    "Write a polite e-mail asking a landlord to repair a leaking kitchen tap.",
    "What does HTTP status code 404 mean?",
    "Name the planets of the solar system in order of their distance from the sun.",
    "Classify the mood of this review as good or bad: The screen is bright, but the battery died in a week.",
    "Explain recursion to a ten-year-old.",
    "What is 17 times 24? Show how you work it out.",
    "Write a haiku about the first snow of the year.",
    "Turn this into a bullet list: we need milk, two loaves of bread, a dozen eggs and some apples.",
    "What are the advantages and the drawbacks of working from home?",
    "Extract the date from this sentence: The contract was signed in Vienna on 3 March 2021.",
    "How do vaccines protect people who are not vaccinated themselves?",
    "Write an SQL query that counts the orders of each customer in the table orders(id, customer, total).",
    "Give three synonyms of the word quick.",
    "What happens to water when it freezes, and why does ice float?",
    "Plan a one-day visit to Rome for someone who likes old buildings and does not like crowds.",
    "Correct the grammar: She don't has no time for go to the market yesterday.",
    "What is the purpose of a firewall in a computer network?",
    "Tell a very short story about a lighthouse keeper and a lost dog.",
    "Which is larger, 0.45 or 2/5, and by how much?",
    "Explain the difference between weather and climate.",
    "Write a regular expression that matches a time such as 09:30 or 23:59.",
    "What should I check before buying a used bicycle?",
)


def problem(workload: WorkloadBlock) -> tuple[str, str] | None:
    """Return (key, what is wrong with it), or None."""
    if workload.file is not None:
        return "file", "is for the workload 'file'"
    if workload.input_tokens is not None:
        return "input_tokens", "chat prompts are not cut; use the workload 'fixed'"
    return None


def prompts(workload: WorkloadBlock) -> list[Prompt]:
    """Return the questions in order, from the start again if more requests are asked for."""
    return [Prompt(QUESTIONS[i % len(QUESTIONS)], chat=True) for i in range(workload.requests)]
