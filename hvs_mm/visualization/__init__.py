from .panel import draw_selection

__all__ = ['draw_selection']
