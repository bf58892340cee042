"""The project: one SQLite file that keeps images, counts, dots, regions and every edit."""
