"""A table like UCI's Adult, drawn by seed: `python tests/adult_like.py FILE.csv [ROWS] [SEED]`.

Adult itself is not among the data here. As there, sex shows in occupation, hours, relationship and pay, so that a
model of income which is never given sex still tells of it; and half of the income is luck, which a network can only
memorise.
"""

import sys
from pathlib import Path

import numpy as np
import pandas as pd

OCCUPATIONS = ("clerical", "craft", "executive", "professional", "sales", "service", "transport")
SHARES = {  # of the occupations, by sex
    "female": (0.30, 0.02, 0.12, 0.17, 0.13, 0.24, 0.02),
    "male": (0.07, 0.24, 0.16, 0.15, 0.12, 0.10, 0.16),
}
PAY = dict(zip(OCCUPATIONS, (-0.4, 0.0, 1.0, 0.9, 0.2, -1.0, -0.1), strict=True))


def adult_like(rows: int = 4000, seed: int = 0) -> pd.DataFrame:
    """`rows` people: age, education, hours, gain, occupation, relationship, race, sex and income."""
    draw = np.random.default_rng(seed)
    sex = draw.choice(["female", "male"], rows, p=[0.4, 0.6])
    male = sex == "male"
    age = np.clip(draw.gamma(6, 4, rows) + 17, 17, 90).round()
    education = np.clip(draw.normal(10, 2.5, rows), 1, 16).round()
    occupation = np.array([draw.choice(OCCUPATIONS, p=np.divide(SHARES[one], sum(SHARES[one]))) for one in sex])
    hours = np.clip(draw.normal(36 + 7 * male, 9), 5, 90).round()
    married = draw.random(rows) < 0.25 + 0.3 * male
    relationship = np.where(married, "spouse", draw.choice(["own-child", "unmarried", "alone"], rows))
    gain = np.where(draw.random(rows) < 0.08, draw.exponential(6000, rows), 0).round()
    race = draw.choice(["black", "other", "white"], rows, p=[0.2, 0.1, 0.7])
    pay = np.array([PAY[one] for one in occupation])
    worth = pay + 0.25 * (education - 10) + 0.03 * (hours - 40) + 0.8 * married + 0.9 * male + gain / 4000
    income = np.where(worth + draw.logistic(0, 0.9, rows) > 1.2, "over-50k", "under-50k")
    return pd.DataFrame(
        {
            "age": age,
            "education": education,
            "hours": hours,
            "gain": gain,
            "occupation": occupation,
            "relationship": relationship,
            "race": race,
            "sex": sex,
            "income": income,
        }
    )


if __name__ == "__main__":
    place, *numbers = sys.argv[1:]
    adult_like(*map(int, numbers)).to_csv(Path(place), index=False)
