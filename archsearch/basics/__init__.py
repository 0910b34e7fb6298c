"""What everything else is said and checked with: words, texts, numbers, random streams, graphs of operations."""
