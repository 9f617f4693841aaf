"""A figure: what was measured in each round, beside what is aimed at."""
import statistics


class Figure:
    """`aim` is the value to reach: at most it, or at least it with most=False. The median is judged."""

    def __init__(self, what, unit="", aim=None, most=True, digits=2):
        self.what, self.unit, self.aim, self.most, self.digits = what, unit, aim, most, digits
        self.values = []

    def add(self, value):
        self.values.append(value)

    @property
    def median(self):
        return statistics.median(self.values)

    @property
    def verdict(self):
        if self.aim is None:
            return ""
        return "met" if (self.median <= self.aim if self.most else self.median >= self.aim) else "missed"

    def row(self):
        def text(value):
            return f"{value:,.{self.digits}f}"

        aim = "" if self.aim is None else ("≤ " if self.most else "≥ ") + f"{self.aim:g}"
        unit = f", {self.unit}" if self.unit else ""
        return [self.what + unit, text(min(self.values)), text(self.median), text(max(self.values)), aim, self.verdict]

    def as_json(self):
        return {"figure": self.what, "unit": self.unit, "values": self.values, "min": min(self.values),
                "median": self.median, "max": max(self.values), "aim": self.aim, "verdict": self.verdict}


HEAD = ["", "min", "median", "max", "aim", ""]


def print_table(title, figures):
    rows = [HEAD] + [figure.row() for figure in figures]
    print(f"\n{title}")
    for row in rows:
        name, *numbers = row
        print(f"  {name:<66}" + "".join(f"{number:>11}" for number in numbers[:3]) + f"{numbers[3]:>10}  {numbers[4]}")
