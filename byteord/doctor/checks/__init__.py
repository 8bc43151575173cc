"""The checks, one module per group or two; `byteord.doctor.registry` collects them."""
